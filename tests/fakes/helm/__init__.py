"""A fake helm: the program that `deploy` calls, with releases as Secrets of the fake cluster. No binary is needed."""
