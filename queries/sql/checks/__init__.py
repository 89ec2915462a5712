"""What a store claims about its rows, one file each: a statement that counts the rows which break the claim."""
