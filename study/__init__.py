"""All that the pages say: numbers, figures and prose, rebuilt from the records."""
