"""One folder a paper: network (torch alone), losses, task, and a README that leads from equations to lines."""
