"""From what the user asked for to what runs: logical operators, rules, physical plan."""
