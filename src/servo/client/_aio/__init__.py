"""The client for asyncio; ``scripts/_unasync.py`` makes its synchronous twin of these modules."""
