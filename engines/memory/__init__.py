"""The fake engine: keeps jobs in memory, runs nothing, and fails in whatever way it is told to."""

from engines.memory.engine import MemoryEngine as MemoryEngine
