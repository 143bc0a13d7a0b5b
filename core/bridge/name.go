package bridge

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// Namespace is the prefix of the names of bridged protocols.
const Namespace = "/x/"

// maxName is the longest protocol name, in bytes. Multistream's own limit of 1024
// includes more than the name.
const maxName = 256

// ErrName is returned for an invalid protocol name.
var ErrName = errors.New("bad protocol name")

// CheckName returns an error that says what is wrong with the name of a protocol, or nil.
// If custom is true, any name that begins with a slash is valid; otherwise the name must
// begin with /x/.
func CheckName(proto protocol.ID, custom bool) error {
	name := string(proto)
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrName)
	case len(name) > maxName:
		return fmt.Errorf("%w: it is longer than %d bytes", ErrName, maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, isUnseen):
		return fmt.Errorf("%w %q: it holds a space, a control character or another that cannot be seen", ErrName, name)
	case name[0] != '/' || strings.Trim(name, "/") == "":
		return fmt.Errorf("%w %q: it must begin with a slash, and more must follow", ErrName, name)
	case !custom && (!strings.HasPrefix(name, Namespace) || strings.Trim(name[len(Namespace):], "/") == ""):
		return fmt.Errorf("%w %q: it must be within the %s namespace, for example /x/ssh, unless custom protocols are allowed", ErrName, name, Namespace)
	}
	return nil
}

// isUnseen reports whether a character is blank, or none that is written.
func isUnseen(r rune) bool {
	const blankBraille = '\u2800'
	return unicode.IsSpace(r) || !unicode.IsGraphic(r) || r == blankBraille || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}
