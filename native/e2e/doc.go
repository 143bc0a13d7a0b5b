// Package e2e contains only tests: of tunnels from end to end, with the programs tombolo
// and tombolo-relay as processes, real services behind them (OpenSSH, PostgreSQL, nginx),
// and every kind of process killed in the middle.
//
// TOMBOLO_LAST_RELEASE names a folder with the programs of the last release, to test that
// the two versions are compatible.
//
// Tests of a service whose program is not installed are skipped, with a message that
// names the package to install. LONG=1 also runs tests that take half a minute or more.
package e2e
