// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

const (
	defaultTimeout         = 30 * time.Second
	defaultMaxMessageBytes = 64 << 20 // the server's default limit
	serviceConfig          = `{"loadBalancingConfig": [{"round_robin": {}}]}`
)

// An Option changes a default of [NewClient].
type Option func(*config) error

// WithTimeout sets the time that a call may take, retries included, if its context has no deadline. The default is 30 seconds; 0 means
// no limit.
func WithTimeout(timeout time.Duration) Option {
	return func(c *config) error {
		c.timeout = timeout
		return nil
	}
}

// WithoutRetry returns the first error of a call. By default, calls that reach no server, or an overloaded one, are retried until they
// succeed or the next attempt would come after their deadline. The pauses double from 50 ms up to 1 s, less a random part of up to half,
// plus the time that the server asks for. So no call fails if a server restarts within the calls' deadlines.
func WithoutRetry() Option {
	return func(c *config) error {
		c.retry = false
		return nil
	}
}

// WithCoalescing lets concurrent calls share a stream, which costs the client and the server less. Each call keeps its own deadline,
// error and answer. A lone call is sent at once.
func WithCoalescing() Option {
	return func(c *config) error {
		c.coalesce = true
		return nil
	}
}

// WithoutSplitting fails calls above the message limit with ResourceExhausted. By default, they are split along their batch dimension,
// and the answers are merged exactly.
func WithoutSplitting() Option {
	return func(c *config) error {
		c.split = false
		return nil
	}
}

// WithTLS connects with TLS and trusts the certificate authorities of the system. The default is plaintext.
func WithTLS() Option {
	return WithTLSConfig(nil)
}

// WithCAFile connects with TLS and trusts the certificate authorities in a PEM file.
func WithCAFile(path string) Option {
	return func(c *config) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		c.useTLS().RootCAs = x509.NewCertPool()
		if !c.tls.RootCAs.AppendCertsFromPEM(data) {
			return fmt.Errorf("%s holds no PEM certificate", path)
		}
		return nil
	}
}

// WithClientCertificate connects with TLS and presents a certificate chain: mutual TLS. Both files are PEM.
func WithClientCertificate(certFile, keyFile string) Option {
	return func(c *config) error {
		certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return err
		}
		c.useTLS().Certificates = []tls.Certificate{certificate}
		return nil
	}
}

// WithTLSConfig connects with TLS as the config says; nil is the default config. Later options of TLS change a copy of it.
func WithTLSConfig(given *tls.Config) Option {
	return func(c *config) error {
		if given == nil {
			c.useTLS()
		} else {
			c.tls = given.Clone()
		}
		return nil
	}
}

// WithToken sends a bearer token with every call. The default is the variable LOSSD_TOKEN. Without TLS, anyone who can read the network
// traffic can use the token.
func WithToken(token string) Option {
	return func(c *config) error {
		c.token = token
		return checkToken("the token", token)
	}
}

// WithConnections sets the number of connections to each server; the default is 1. A server with --workers assigns each connection to
// one worker, so a client can keep at most as many workers busy as it has connections.
func WithConnections(count int) Option {
	return func(c *config) error {
		if count < 1 {
			return fmt.Errorf("%d connections; there must be at least 1", count)
		}
		c.connections = count
		return nil
	}
}

// WithMaxMessageBytes sets the maximum size of a request or response message; the default is 64 MiB. The server's limit applies too.
func WithMaxMessageBytes(limit int) Option {
	return func(c *config) error {
		c.maxMessageBytes = limit
		return nil
	}
}

// WithDialOptions adds options of gRPC, such as interceptors; they override the client's.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(c *config) error {
		c.dialOptions = append(c.dialOptions, options...)
		return nil
	}
}

// Implementation details follow.

type config struct {
	timeout         time.Duration
	retry           bool
	coalesce        bool
	split           bool
	tls             *tls.Config // nil for plaintext
	token           string
	connections     int
	maxMessageBytes int
	dialOptions     []grpc.DialOption
}

func newConfig(options []Option) (*config, error) {
	c := &config{
		timeout: defaultTimeout, retry: true, split: true, connections: 1, maxMessageBytes: defaultMaxMessageBytes,
		token: os.Getenv("LOSSD_TOKEN"),
	}
	if err := checkToken("LOSSD_TOKEN", c.token); err != nil {
		return nil, err
	}
	for _, option := range options {
		if err := option(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *config) useTLS() *tls.Config {
	if c.tls == nil {
		c.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return c.tls
}

// dial returns the options of a connection.
func (c *config) dial() []grpc.DialOption {
	transport := insecure.NewCredentials()
	if c.tls != nil {
		transport = credentials.NewTLS(c.tls)
	}
	limit := c.maxMessageBytes + 4096 // slightly larger, so that lossd's clearer error comes before gRPC's
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(limit), grpc.MaxCallRecvMsgSize(limit)),
		grpc.WithDisableRetry(), // the client retries up to the call's deadline
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 20 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.WithUserAgent("lossd-go"),
	}
	if c.token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(c.token)))
	}
	return append(options, c.dialOptions...)
}

// bearer is a token that is sent with every call, also without TLS.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool {
	return false
}

// addresses returns the servers that an address names, or LOSSD_ADDRESS if the address is empty.
func addresses(address string) ([]string, error) {
	if address == "" {
		address = os.Getenv("LOSSD_ADDRESS")
	}
	found := strings.Split(address, ",")
	for i := range found {
		found[i] = strings.TrimSpace(found[i])
		if found[i] == "" {
			return nil, errors.New(`no server address: give "host:port", several as "a:1,b:2", or set LOSSD_ADDRESS`)
		}
	}
	return found, nil
}

func checkToken(name, token string) error {
	for _, character := range token {
		if character < '!' || character > '~' {
			return fmt.Errorf("%s holds a space, a line break or another character that cannot be sent: "+
				"call strings.TrimSpace on a token from a file", name)
		}
	}
	return nil
}
