package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// startStunnel starts a tunnel of two stunnels with TLS between them.
func startStunnel(_ context.Context, target, _ string) (_ *tunnel, err error) {
	program, err := findProgram("stunnel4")
	if errors.Is(err, errSkipped) {
		program, err = findProgram("stunnel")
	}
	if err != nil {
		return nil, err
	}
	t := &tunnel{}
	defer func() {
		if err != nil {
			stopAll(t.processes)
			t.clean()
		}
	}()
	if t.dir, err = os.MkdirTemp("", "bench-stunnel-"); err != nil {
		return nil, err
	}
	certificate := filepath.Join(t.dir, "certificate.pem")
	if err := writeCertificate(certificate); err != nil {
		return nil, err
	}
	var middle, local int
	if middle, err = freePort(); err != nil {
		return nil, err
	}
	if local, err = freePort(); err != nil {
		return nil, err
	}
	t.addr = fmt.Sprintf("127.0.0.1:%d", local)
	const common = "foreground = yes\npid =\ndebug = err\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
	for name, config := range map[string]string{
		"server": fmt.Sprintf("[bench]\naccept = 127.0.0.1:%d\nconnect = %s\ncert = %s\n", middle, target, certificate),
		"client": fmt.Sprintf("[bench]\nclient = yes\naccept = %s\nconnect = 127.0.0.1:%d\nverifyPeer = yes\nCAfile = %s\n", t.addr, middle, certificate),
	} {
		file := filepath.Join(t.dir, name+".conf")
		if err := os.WriteFile(file, []byte(common+config), 0o600); err != nil {
			return nil, err
		}
		p, err := start(exec.Command(program, file))
		if err != nil {
			return nil, err
		}
		p.wait()
		t.processes = append(t.processes, p)
	}
	if err := answering(t.addr, t.processes...); err != nil {
		return nil, t.told(err)
	}
	return t, nil
}

func writeCertificate(file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...)
	return os.WriteFile(file, both, 0o600)
}
