"""Sources and sinks: from files to Arrow tables, and back.

One file a format. Knows nothing of scheduling, of user code, or of the workers that read and write.
"""
