"""The documentation: pages made of the code, examples of the help, the site."""
