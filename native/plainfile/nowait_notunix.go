//go:build !unix

package plainfile

// NoWait is nothing here: folders hold no named pipes and no devices.
const NoWait = 0
