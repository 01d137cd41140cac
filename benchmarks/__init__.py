"""What the job engine costs, each figure beside a reference from the same run."""
