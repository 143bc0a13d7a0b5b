//go:build !race && !js

package bridge_test

const raceDetector = false
