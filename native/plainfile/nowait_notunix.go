//go:build !unix

package plainfile

// NoWait is zero on this system, whose folders contain no named pipes and no devices.
const NoWait = 0
