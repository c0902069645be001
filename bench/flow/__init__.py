"""Components: messages through a pipeline and over a backplane, and what an idle component costs. No network."""
