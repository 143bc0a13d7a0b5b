package store

// NoSync has a store not wait for the disk, for tests that write thousands of
// times and that no loss of power interrupts.
func NoSync(s *Store) { s.db.NoSync = true }
