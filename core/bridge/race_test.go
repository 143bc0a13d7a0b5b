//go:build race

package bridge_test

// raceDetector reports whether the race detector is on, which makes everything about ten
// times slower.
const raceDetector = true
