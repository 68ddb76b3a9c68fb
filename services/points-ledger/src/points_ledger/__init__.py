"""The system of record of points: accounts, holds of vendors, and the entries that changed each account."""
