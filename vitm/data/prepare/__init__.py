"""Videos and panoramas -> data sets in the layouts of `vitm.data.paired.layouts`: what `vitm prepare` does."""
