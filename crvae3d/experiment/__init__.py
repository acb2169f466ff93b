"""Where all meet: the tables of names, settings, and the runs made from them."""
