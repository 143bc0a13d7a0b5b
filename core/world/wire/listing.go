package wire

// RoomsType is the type that every peer is on that holds a room. Asked with a request
// of this type, it answers with its rooms, as a JSON array of Listing.
const RoomsType = "world/rooms"

// ClaimType is the type of the request that asks a peer for its claim to a room: the data
// is the room's name, and the answer a Line, as in a message; empty if it makes none.
const ClaimType = "world/claim"

// RoomType is the type that the peers are on that hold a room of this name.
func RoomType(name string) string { return "world/room/" + name }

// Listing is what a host says of one of its rooms. It proves nothing.
type Listing struct {
	Name          string `json:"name"`
	Version       string `json:"version,omitempty"`
	Password      bool   `json:"password,omitempty"` // one is needed
	Hz            int    `json:"hz"`
	Players       int    `json:"players"`
	MaxPlayers    int    `json:"maxPlayers"`
	Spectators    int    `json:"spectators,omitempty"`
	MaxSpectators int    `json:"maxSpectators,omitempty"`
}
