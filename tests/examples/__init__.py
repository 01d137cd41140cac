"""The examples that are programs of their own, run as their READMEs say."""
