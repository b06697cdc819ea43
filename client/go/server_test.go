// SPDX-License-Identifier: Apache-2.0

package lossd_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	lossd "github.com/lossd/lossd/client/go"
)

// A server is a `lossd serve` of its own process.
type server struct {
	address string
	command *exec.Cmd
}

// serve starts a server, which ends with the test. The variable LOSSD has the command, by default lossd.
func serve(t testing.TB, arguments ...string) *server {
	t.Helper()
	s := start(t, append([]string{"--listen", "127.0.0.1:0"}, arguments...)...)
	t.Cleanup(s.kill)
	return s
}

func start(t testing.TB, arguments ...string) *server {
	t.Helper()
	s, err := startServer(arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func startServer(arguments ...string) (*server, error) {
	command := append(strings.Fields(os.Getenv("LOSSD")), "lossd")
	if len(command) > 1 {
		command = command[:len(command)-1]
	}
	command = append(command, "serve", "--admin-listen", "", "--drain-seconds", "0.2")
	s := &server{command: exec.Command(command[0], append(command[1:], arguments...)...)}
	s.command.Stderr = os.Stderr
	output, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "lossd listens on "); ok {
			s.address = strings.Fields(address)[0]
			go func() { // the log, so that the server never waits for a reader
				for lines.Scan() {
				}
			}()
			return s, nil
		}
	}
	s.kill()
	return nil, fmt.Errorf("lossd serve %q said no address", arguments)
}

// kill ends the server with SIGKILL.
func (s *server) kill() {
	s.command.Process.Kill()
	s.command.Wait()
}

// shared is the server of the tests that need no server of their own.
var shared *server

func TestMain(m *testing.M) {
	os.Unsetenv("LOSSD_ADDRESS")
	os.Unsetenv("LOSSD_TOKEN")
	var err error
	if shared, err = startServer("--listen", "127.0.0.1:0"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("LOSSD_ADDRESS", shared.address) // for the examples
	code := m.Run()
	shared.kill()
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
