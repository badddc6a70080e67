"""Videos and panoramas -> data sets in the layouts of `vitm.data.layouts`: what `vitm prepare` does."""
