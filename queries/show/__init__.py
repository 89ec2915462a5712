"""What a person or a program reads of rows: text and HTML tables, CSV and JSON. Nothing of a file reaches a terminal or
a page as it is: control characters are escaped, markup is text.
"""
