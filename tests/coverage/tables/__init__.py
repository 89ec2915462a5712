"""The functions, modules, losses and methods of torch that are tried, by kind."""
