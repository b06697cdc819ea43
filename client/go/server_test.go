// SPDX-License-Identifier: Apache-2.0

package lossd_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/internal/lossdtest"
)

// serve starts a server of its own for a test.
func serve(t testing.TB, arguments ...string) *lossdtest.Server {
	t.Helper()
	return lossdtest.Serve(t, arguments...)
}

// shared is the server of the tests that need no server of their own.
var shared *lossdtest.Server

func TestMain(m *testing.M) {
	os.Unsetenv("LOSSD_ADDRESS")
	os.Unsetenv("LOSSD_TOKEN")
	var err error
	if shared, err = lossdtest.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("LOSSD_ADDRESS", shared.Address) // for the examples
	code := m.Run()
	shared.Kill()
	os.Exit(code)
}

// connect returns a client, which ends with the test.
func connect(t testing.TB, address string, options ...lossd.Option) *lossd.Client {
	t.Helper()
	client, err := lossd.NewClient(address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// within returns a context that ends with the test, or after so many seconds.
func within(t testing.TB, seconds float64) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds*float64(time.Second)))
	t.Cleanup(cancel)
	return ctx
}
