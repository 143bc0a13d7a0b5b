package store

// NoSync keeps a store from waiting for the disk, for tests that write thousands of times
// and need not survive a loss of power.
func NoSync(s *Store) { s.db.NoSync = true }
