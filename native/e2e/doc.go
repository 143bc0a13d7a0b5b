// Package e2e holds tests only: of tunnels from end to end, with the programs
// tombolo and tombolo-relay as processes, real services behind them (OpenSSH,
// PostgreSQL, nginx) and every kind of process killed in the middle.
//
// TOMBOLO_LAST_RELEASE names a folder with the programs of the last release, to test that
// both versions understand each other.
//
// A service whose program is not installed is skipped, with a word that says which
// package has it. LONG=1 runs what takes half a minute and more, too.
package e2e
