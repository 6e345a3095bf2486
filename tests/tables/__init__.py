"""What tools say of themselves in their own help, beside what the tables say.

said.py      one help text -> its flags and which of them take a value
gnu.py       the option lines of programs that are no cobra program
tree.py      a tool's whole tree of verbs, asked from the program or read from its data files
programs.py  where each tool is and how it is asked
fold.py      many verbs' flags folded into one tool's table, and what a table says of a verb
agree.py     where a table and the help differ
known.py     the differences that are wanted, each with its reason
share.py     how many commands of real documents have a verb that the table knows

`python -m tests.tables` writes what the help says into the tables; the test compares them. Programs
that lie on no path are found in the folders that OPSLORE_TOOLS names, separated by `:`.
"""
