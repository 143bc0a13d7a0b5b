package datadir

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func keyPath(d *Dir) string { return filepath.Join(d.Path(), keyFile) }

func TestTheIdentityIsMadeOnceAndStays(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	made, err := d.Key()
	require.NoError(t, err)
	assert.Equal(t, crypto.Ed25519, int(made.Type()))
	info, err := os.Stat(keyPath(d))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	before, err := os.ReadFile(keyPath(d))
	require.NoError(t, err)

	again, err := d.Key()
	require.NoError(t, err)
	assert.True(t, made.Equals(again))
	require.NoError(t, d.Close())

	again, err = open(t, dir).Key()
	require.NoError(t, err)
	assert.True(t, made.Equals(again))
	after, err := os.ReadFile(keyPath(d))
	require.NoError(t, err)
	assert.Equal(t, before, after)

	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 2, "the key, the lock, and nothing else: %v", entries)
}

func TestTheIdentityIsReadBesideItsHolder(t *testing.T) {
	d := open(t, t.TempDir())
	_, err := ReadKey(d.Path())
	require.ErrorIs(t, err, ErrNoIdentity)
	_, err = os.Stat(keyPath(d))
	require.ErrorIs(t, err, os.ErrNotExist, "ReadKey makes nothing")

	made, err := d.Key()
	require.NoError(t, err)
	read, err := ReadKey(d.Path())
	require.NoError(t, err)
	assert.True(t, made.Equals(read))
}

func TestAUmaskDoesNotOpenTheIdentity(t *testing.T) {
	withUmask(t, 0)
	d := open(t, filepath.Join(t.TempDir(), "data"))
	_, err := d.Key()
	require.NoError(t, err)
	for path, mode := range map[string]os.FileMode{d.Path(): 0o700, keyPath(d): 0o600} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), path)
	}
}

func TestADamagedIdentityIsAnErrorAndLeftAlone(t *testing.T) {
	good := marshal(t, crypto.Ed25519)
	flipped := bytes.Clone(good)
	flipped[10] ^= 1 // in the seed, which then no longer matches the public key
	flippedPublic := bytes.Clone(good)
	flippedPublic[len(good)-1] ^= 1
	for name, content := range map[string][]byte{
		"empty":              {},
		"truncated":          good[:len(good)/2],
		"short by a byte":    good[:len(good)-1],
		"long by a byte":     append(bytes.Clone(good), 0),
		"flipped seed":       flipped,
		"flipped public key": flippedPublic,
		"zeros":              make([]byte, len(good)),
		"text":               []byte("-----BEGIN OPENSSH PRIVATE KEY-----\n"),
		"huge":               bytes.Repeat([]byte("x"), 1<<20),
		"another type":       marshal(t, crypto.Secp256k1),
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, t.TempDir())
			require.NoError(t, os.WriteFile(keyPath(d), content, 0o600))
			for range 2 {
				_, err := d.Key()
				require.ErrorContains(t, err, keyPath(d))
				assert.ErrorContains(t, err, "damaged")
				assert.ErrorContains(t, err, "backup")
			}
			left, err := os.ReadFile(keyPath(d))
			require.NoError(t, err)
			assert.Equal(t, content, left)
		})
	}
}

func marshal(t *testing.T, kind int) []byte {
	t.Helper()
	key, _, err := crypto.GenerateKeyPairWithReader(kind, 0, rand.Reader)
	require.NoError(t, err)
	b, err := crypto.MarshalPrivateKey(key)
	require.NoError(t, err)
	return b
}

func TestAnIdentityOthersCanTouchIsAnError(t *testing.T) {
	if !checksModes {
		t.Skip("this platform has no mode bits that say who may read a file")
	}
	content := marshal(t, crypto.Ed25519)
	for mode := os.FileMode(0); mode <= 0o777; mode++ {
		if mode&0o400 == 0 && os.Geteuid() != 0 {
			continue // not even its owner can read it; covered below
		}
		d, err := Open(t.TempDir())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(keyPath(d), content, 0o600))
		require.NoError(t, os.Chmod(keyPath(d), mode))
		_, err = d.Key()
		if mode&0o077 == 0 {
			assert.NoError(t, err, "%#o", mode)
		} else if assert.ErrorContains(t, err, "chmod 600 "+keyPath(d), "%#o", mode) {
			info, err := os.Stat(keyPath(d))
			require.NoError(t, err)
			assert.Equal(t, mode, info.Mode().Perm(), "it is left as it was")
		}
		require.NoError(t, d.Close())
	}
}

func TestAnIdentityThatCannotBeReadIsAnError(t *testing.T) {
	if !checksModes || os.Geteuid() == 0 {
		t.Skip("needs a user whom mode 0000 keeps out; root reads everything")
	}
	d := open(t, t.TempDir())
	require.NoError(t, os.WriteFile(keyPath(d), marshal(t, crypto.Ed25519), 0o000))
	_, err := d.Key()
	require.ErrorIs(t, err, os.ErrPermission)
	assert.ErrorContains(t, err, keyPath(d))
}

func TestSomethingElseInTheIdentitysPlaceIsAnErrorAndLeftAlone(t *testing.T) {
	t.Run("directory", func(t *testing.T) {
		d := open(t, t.TempDir())
		require.NoError(t, os.Mkdir(keyPath(d), 0o700))
		_, err := d.Key()
		require.ErrorContains(t, err, keyPath(d)+" is a directory")
		info, err := os.Lstat(keyPath(d))
		require.NoError(t, err)
		assert.True(t, info.IsDir())
	})
	for name, target := range map[string]string{"link to a good key": "elsewhere", "link to nothing": "nowhere"} {
		t.Run(name, func(t *testing.T) {
			d := open(t, t.TempDir())
			require.NoError(t, os.WriteFile(filepath.Join(d.Path(), "elsewhere"), marshal(t, crypto.Ed25519), 0o600))
			require.NoError(t, os.Symlink(target, keyPath(d)))
			_, err := d.Key()
			require.ErrorContains(t, err, keyPath(d)+" is a symbolic link")
			got, err := os.Readlink(keyPath(d))
			require.NoError(t, err)
			assert.Equal(t, target, got)
		})
	}
}

func TestWhatACrashLeftIsNoIdentity(t *testing.T) {
	d := open(t, t.TempDir())
	leftover := filepath.Join(d.Path(), ".tombolo-123.tmp")
	require.NoError(t, os.WriteFile(leftover, []byte("half a k"), 0o600))
	other := filepath.Join(d.Path(), "identity-123.tmp")
	require.NoError(t, os.WriteFile(other, []byte("a person's"), 0o600))

	key, err := d.Key()
	require.NoError(t, err)
	_, err = os.Stat(leftover)
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.FileExists(t, other)

	// A crash between naming the new file and removing its old name.
	require.NoError(t, os.Link(keyPath(d), leftover))
	again, err := d.Key()
	require.NoError(t, err)
	assert.True(t, key.Equals(again))
	assert.NoFileExists(t, leftover)
}

func TestAnIdentityThatAppearsMeanwhileIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, keyFile)
	require.NoError(t, os.WriteFile(path, []byte("first"), 0o600))
	require.ErrorIs(t, createWhole(dir, keyFile, []byte("second")), os.ErrExist)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "first", string(b))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

func TestIdentityWithoutADirectoryIsFresh(t *testing.T) {
	a, c, err := Identity("", nil)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	b, _, err := Identity("", nil)
	require.NoError(t, err)
	assert.False(t, a.Equals(b))
	given, _, err := Identity("", a)
	require.NoError(t, err)
	assert.True(t, a.Equals(given))
}

func TestAGivenIdentityIsNotWrittenDown(t *testing.T) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	dir := t.TempDir()
	got, c, err := Identity(dir, key)
	require.NoError(t, err)
	assert.True(t, key.Equals(got))
	_, err = Open(dir)
	require.ErrorIs(t, err, ErrInUse)
	require.NoError(t, c.Close())
	assert.NoFileExists(t, filepath.Join(dir, keyFile))
}

func TestAnIdentityThatCannotBeUsedFreesTheDirectory(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, keyFile), []byte("damage"), 0o600))
	_, _, err := Identity(dir, nil)
	require.ErrorContains(t, err, "damaged")
	open(t, dir)
}
