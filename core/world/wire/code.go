package wire

import "fmt"

// Code says why a seat was refused or has ended.
type Code byte

const (
	NoRoom   Code = iota + 1 // the peer hosts no room of this name
	Full                     // all seats are taken
	Banned                   // the peer is banned
	Version                  // the game is of another version
	Password                 // the password is wrong, or missing
	Busy                     // the host cannot keep up with more players
	Refused                  // the game refused the player
	Kicked                   // the game or the host removed the player
	Replaced                 // another connection of the same peer took the seat
	Slow                     // the player did not read what was sent to it
	Invalid                  // the peer broke the protocol
	Closed                   // the room has closed
	Left                     // the player gave the seat up
	Lost                     // the connection was lost, and the grace period of the seat is over
	Moved                    // another peer holds the room
	Walked                   // the player continues in another room
	endOfCodes
)

var names = [...]string{
	NoRoom: "no-room", Full: "full", Banned: "banned", Version: "version", Password: "password", Busy: "busy", Refused: "refused",
	Kicked: "kicked", Replaced: "replaced", Slow: "slow", Invalid: "invalid", Closed: "closed", Left: "left", Lost: "lost", Moved: "moved",
	Walked: "walked",
}

// Name returns the code as programs write it: one lower-case word, or two with a hyphen.
func (c Code) Name() string {
	if c == 0 || c >= endOfCodes {
		return fmt.Sprintf("code-%d", byte(c))
	}
	return names[c]
}

var codes = [...]string{
	NoRoom:   "the peer hosts no room of this name",
	Full:     "all seats are taken",
	Banned:   "the peer is banned",
	Version:  "the game is of another version",
	Password: "the password is wrong or missing",
	Busy:     "the host cannot keep up with more players",
	Refused:  "the game refused the player",
	Kicked:   "the player was put out",
	Replaced: "another connection of the same peer took the seat",
	Slow:     "the player did not take what was sent to it",
	Invalid:  "the peer broke the protocol",
	Closed:   "the room has closed",
	Left:     "the player left",
	Lost:     "the connection was lost",
	Moved:    "another peer holds the room",
	Walked:   "the player goes on in another room",
}

func (c Code) String() string {
	if c == 0 || c >= endOfCodes {
		return fmt.Sprintf("code %d", byte(c))
	}
	return codes[c]
}
