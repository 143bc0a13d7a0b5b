//go:build js

package webtransport

import (
	"math"
	"syscall/js"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"
)

func eval(code string) js.Value { return js.Global().Get("Function").New("return " + code).Invoke() }

func TestCloseInfoOfAnySortIsAnEnd(t *testing.T) {
	for code, want := range map[string]network.ConnErrorCode{
		`({closeCode: 7, reason: 'x'})`: 7, `({closeCode: 2 ** 32 - 1})`: math.MaxUint32, `({closeCode: 2 ** 32})`: 0, `({closeCode: -1})`: 0,
		`({closeCode: 1.5})`: 0, `({closeCode: '7'})`: 0, `({closeCode: 1n})`: 0, `({})`: 0, `null`: 0, `undefined`: 0, `'closed'`: 0, `1n`: 0,
		`({get closeCode() { throw 1 }})`: 0,
	} {
		require.Equal(t, &network.ConnError{Remote: true, ErrorCode: want}, closeError([]js.Value{eval(code)}), code)
	}
	require.Equal(t, &network.ConnError{Remote: true}, closeError(nil))
}

func TestStreamsMayFailWithAnything(t *testing.T) {
	for _, code := range []string{
		`undefined`, `null`, `'text'`, `7`, `1n`, `Symbol()`, `({})`, `({source: 1n})`, `({get source() { throw 1 }})`, `() => {}`,
		`({source: 'stream', get message() { throw 1n }})`,
	} {
		var reset *network.StreamError
		require.ErrorAs(t, Failure(eval(code)), &reset, code)
		require.NotPanics(t, func() { _ = reset.Error() }, code)
	}
	var closed *network.ConnError
	require.ErrorAs(t, Failure(eval(`({source: 'session'})`)), &closed)
}
