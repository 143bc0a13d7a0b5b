//go:build race

package bridge_test

// raceDetector makes everything some ten times slower.
const raceDetector = true
