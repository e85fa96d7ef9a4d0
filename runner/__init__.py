"""What a task runs: a small parent that claims, beats and reports, and a child that runs the pipeline with ZenML."""
