package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"unicode"
	"unicode/utf8"
)

// LobbyProtocol is the protocol over which a peer reports the rooms that it hosts, as
// long as the stream is open. The asking peer opens the stream and sends its [Filter].
// The host answers with [News]: first all rooms that pass, then the changes.
const LobbyProtocol = "/tombolo/lobby/1.0.0"

// The kinds of messages on the stream of a lobby.
const (
	KindFilter Kind = iota + 161
	KindNews
)

const (
	// MaxFilter bounds a message to a host that reports its rooms, in bytes.
	MaxFilter = 8 << 10
	// MaxNews bounds a message of such a host, in bytes.
	MaxNews = 1 << 20
	// MaxListed bounds the rooms that a host reports.
	MaxListed = 256
	// MaxTags bounds the tags of a room, MaxTag the name of a tag and MaxTagValue its
	// value; the last two are in bytes.
	MaxTags     = 16
	MaxTag      = 32
	MaxTagValue = 128
)

// RoomsType is the type to which every peer that holds a room subscribes.
const RoomsType = "world/rooms"

// RoomType returns the type to which peers that hold a room of this name subscribe.
func RoomType(name string) string { return "world/room/" + name }

// ClaimType is the type of the request for a peer's claim to a room. The data is the
// room's name, and the answer a Line, encoded as a message; empty if the peer makes no
// claim.
const ClaimType = "world/claim"

// Listing is a host's description of one of its rooms. It comes without proof.
type Listing struct {
	Name          string            `json:"name"`
	Version       string            `json:"version,omitempty"`
	Tags          map[string]string `json:"tags,omitempty"`
	Password      bool              `json:"password,omitempty"` // a password is needed
	Hz            int               `json:"hz"`
	Players       int               `json:"players"`
	MaxPlayers    int               `json:"maxPlayers"`
	Spectators    int               `json:"spectators,omitempty"`
	MaxSpectators int               `json:"maxSpectators,omitempty"`
}

// Equal reports whether two listings are the same.
func (l Listing) Equal(other Listing) bool {
	same := maps.Equal(l.Tags, other.Tags)
	l.Tags, other.Tags = nil, nil
	return same && reflect.DeepEqual(l, other)
}

// Check returns an error that says what is wrong with a listing, or nil.
func (l *Listing) Check() error {
	if l.Name == "" || len(l.Name) > MaxName || len(l.Version) > MaxName {
		return errors.New("a room whose name or version is empty or too long")
	}
	if l.Players < 0 || l.MaxPlayers < 0 || l.Spectators < 0 || l.MaxSpectators < 0 || l.Hz < 0 {
		return fmt.Errorf("room %q has a number that is negative", l.Name)
	}
	return CheckTags(l.Tags)
}

// CheckTags returns an error that says what is wrong with the tags of a room, or nil.
func CheckTags(tags map[string]string) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("there are %d tags; at most %d may be", len(tags), MaxTags)
	}
	for name, value := range tags {
		switch {
		case name == "" || len(name) > MaxTag || !printable(name):
			return fmt.Errorf("the tag %.40q has no printable name of 1 to %d bytes", name, MaxTag)
		case len(value) > MaxTagValue || !printable(value):
			return fmt.Errorf("the tag %q has the value %.40q…, which is not printable or has over %d bytes", name, value, MaxTagValue)
		}
	}
	return nil
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// Filter selects rooms. The zero value selects all of them.
type Filter struct {
	// Name and Version must be those of the room; empty matches any.
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	// Tags are tags that the room must have. An empty value matches any.
	Tags map[string]string `json:"tags,omitempty"`
	// Free is the least number of free seats, and Players the least number of players.
	Free    int `json:"free,omitempty"`
	Players int `json:"players,omitempty"`
	// Open leaves out rooms that need a password.
	Open bool `json:"open,omitempty"`
}

// Check returns an error that says what is wrong with a filter, or nil.
func (f *Filter) Check() error {
	if len(f.Name) > MaxName || len(f.Version) > MaxName {
		return fmt.Errorf("the name or the version asked for is longer than %d bytes", MaxName)
	}
	if f.Free < 0 || f.Players < 0 {
		return errors.New("a number of seats is negative")
	}
	return CheckTags(f.Tags)
}

// Passes reports whether the filter selects a room.
func (f *Filter) Passes(l *Listing) bool {
	for name, value := range f.Tags {
		if has, ok := l.Tags[name]; !ok || value != "" && value != has {
			return false
		}
	}
	return (f.Name == "" || f.Name == l.Name) && (f.Version == "" || f.Version == l.Version) &&
		f.Free <= max(0, l.MaxPlayers-l.Players) && f.Players <= l.Players && !(f.Open && l.Password)
}

// News is a report of a host's rooms, or of their changes.
type News struct {
	Rooms []Listing `json:"rooms,omitempty"` // new or changed rooms
	Gone  []string  `json:"gone,omitempty"`  // the names of rooms that are gone or no longer pass
	Ready bool      `json:"ready,omitempty"` // the first report is complete
}

// AppendFilter appends the message.
func AppendFilter(dst []byte, f Filter) []byte { return appendJSON(dst, KindFilter, f) }

// AppendNews appends the message.
func AppendNews(dst []byte, n News) []byte { return appendJSON(dst, KindNews, n) }

func appendJSON(dst []byte, kind Kind, v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // nothing in it can fail to be encoded
	}
	return append(begin(dst, kind, len(body)), body...)
}

// DecodeFilter decodes what follows the kind.
func DecodeFilter(body []byte) (f Filter, err error) {
	if err = json.Unmarshal(body, &f); err == nil {
		err = f.Check()
	}
	if err != nil {
		err = fmt.Errorf("%w: filter: %w", ErrMalformed, err)
	}
	return f, err
}

// DecodeNews decodes what follows the kind. It leaves out listings that are invalid.
func DecodeNews(body []byte) (n News, err error) {
	if err = json.Unmarshal(body, &n); err != nil {
		return n, fmt.Errorf("%w: news: %w", ErrMalformed, err)
	}
	n.Rooms = slices.DeleteFunc(n.Rooms, func(l Listing) bool { return l.Check() != nil })
	return n, nil
}
