"""Lists as people have them: what a file is, its records, and the same file with more columns as the answer.

`encodings` recognises the file, `records` cuts it into records, `csv_lists` reads its header and writes the answer.
"""
