// SPDX-License-Identifier: Apache-2.0

package lossd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	lossd "github.com/lossd/lossd/client/go"
)

func TestTLSAndTokens(t *testing.T) {
	pki := newPKI(t)
	token := "0123456789abcdef"
	tokens := pki.write("tokens", fmt.Appendf(nil, "tester %x\n", sha256.Sum256([]byte(token))))
	server := serve(t, "--tls-cert-file", pki.path("server.crt"), "--tls-key-file", pki.path("server.key"), "--tokens-file", tokens)

	trusted := lossd.WithCAFile(pki.path("ca.crt"))
	if _, err := connect(t, server.Address, trusted, lossd.WithToken(token)).Score(within(t, 30), l1Loss); err != nil {
		t.Error(err)
	}
	t.Setenv("LOSSD_TOKEN", token)
	for _, options := range [][]lossd.Option{{trusted}, {trusted, lossd.WithCoalescing()}} {
		if _, err := connect(t, server.Address, options...).Score(within(t, 30), l1Loss); err != nil {
			t.Error(err)
		}
	}
	_, err := connect(t, server.Address, trusted, lossd.WithToken("wrong")).Score(within(t, 30), l1Loss)
	expectError(t, err, codes.Unauthenticated, "TOKEN_INVALID")

	for name, test := range map[string]struct {
		options []lossd.Option
		cure    string
	}{
		"an authority that is not trusted": {[]lossd.Option{lossd.WithTLS()}, "WithCAFile"},
		"another host's certificate":       {[]lossd.Option{lossd.WithTLSConfig(&tls.Config{ServerName: "other"}), trusted}, "for another host"},
		"plaintext":                        {[]lossd.Option{lossd.WithoutRetry()}, "WithTLS"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := connect(t, server.Address, test.options...).Score(within(t, 30), l1Loss)
			expectError(t, err, codes.Unavailable, "", test.cure)
		})
	}
	_, err = connect(t, shared.Address, lossd.WithTLS()).Score(within(t, 30), l1Loss)
	expectError(t, err, codes.Unavailable, "", "the server does not use TLS")
}

func TestMutualTLS(t *testing.T) {
	pki := newPKI(t)
	server := serve(t, "--tls-cert-file", pki.path("server.crt"), "--tls-key-file", pki.path("server.key"),
		"--tls-client-ca-file", pki.path("ca.crt"))
	trusted := lossd.WithCAFile(pki.path("ca.crt"))
	client := connect(t, server.Address, trusted, lossd.WithClientCertificate(pki.path("server.crt"), pki.path("server.key")))
	if _, err := client.Score(within(t, 30), l1Loss); err != nil {
		t.Error(err)
	}
	_, err := connect(t, server.Address, trusted, lossd.WithoutRetry()).Score(within(t, 30), l1Loss)
	expectError(t, err, codes.Unavailable, "")
}

func TestOptionsThatCannotBeUsed(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for cause, make := range map[string]func() (*lossd.Client, error){
		"strings.TrimSpace": func() (*lossd.Client, error) { return lossd.NewClient("a:1", lossd.WithToken("x\n")) },
		"0 connections":     func() (*lossd.Client, error) { return lossd.NewClient("a:1", lossd.WithConnections(0)) },
		"holds no PEM":      func() (*lossd.Client, error) { return lossd.NewClient("a:1", lossd.WithCAFile(empty)) },
		"no such file":      func() (*lossd.Client, error) { return lossd.NewClient("a:1", lossd.WithCAFile("absent")) },
		"open absent": func() (*lossd.Client, error) {
			return lossd.NewClient("a:1", lossd.WithClientCertificate("absent", "absent"))
		},
		`several as "a:1,b:2"`: func() (*lossd.Client, error) { return lossd.NewClient("a:1,,b:2") },
	} {
		client, err := make()
		if err == nil {
			client.Close()
			t.Errorf("no error; want %q", cause)
		} else if !strings.Contains(err.Error(), cause) {
			t.Errorf("%q does not say %q", err, cause)
		}
	}
	t.Setenv("LOSSD_ADDRESS", "")
	if _, err := lossd.NewClient(""); err == nil || !strings.Contains(err.Error(), "LOSSD_ADDRESS") {
		t.Errorf("%v", err)
	}
}

func TestConnectionErrorsSayTheCause(t *testing.T) {
	for address, cause := range map[string]string{"no-such-host.invalid:1": "there is no such host", freeAddress(t): "nothing listens at this address"} {
		_, err := connect(t, address, lossd.WithoutRetry()).Score(within(t, 30), l1Loss)
		expectError(t, err, codes.Unavailable, "", cause)
	}
}

func TestTheAddressComesFromTheVariable(t *testing.T) {
	info, err := connect(t, "").ServerInfo(within(t, 30)) // TestMain sets LOSSD_ADDRESS
	if err != nil || len(info.Losses) != 23 {
		t.Fatal(info, err)
	}
}

// freeAddress returns a local address at which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// A pki is a folder with a certificate authority, and the certificate and key of 127.0.0.1, which serve clients too.
type pki struct {
	t      *testing.T
	folder string
}

func newPKI(t *testing.T) *pki {
	p := &pki{t, t.TempDir()}
	authorityKey, leafKey := newKey(t), newKey(t)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	p.certificate("ca.crt", authority, authority, authorityKey, authorityKey)
	p.certificate("server.crt", leaf, authority, leafKey, authorityKey)
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	p.write("server.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return p
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (p *pki) certificate(name string, template, issuer *x509.Certificate, key, issuerKey *ecdsa.PrivateKey) {
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (p *pki) path(name string) string {
	return filepath.Join(p.folder, name)
}

func (p *pki) write(name string, content []byte) string {
	if err := os.WriteFile(p.path(name), content, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return p.path(name)
}
