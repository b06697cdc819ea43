// SPDX-License-Identifier: Apache-2.0

// Package lossdtest starts lossd servers for tests. The variable LOSSD has the command of a server, by default lossd.
package lossdtest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A Server is a `lossd serve` of its own process.
type Server struct {
	Address string

	command *exec.Cmd
}

// Serve starts a server on a free local port, unless the arguments name another, which ends with the test.
func Serve(t testing.TB, arguments ...string) *Server {
	t.Helper()
	s, err := Start(arguments...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// Start is Serve for a server that the caller kills.
func Start(arguments ...string) (*Server, error) {
	command := strings.Fields(os.Getenv("LOSSD"))
	if len(command) == 0 {
		command = []string{"lossd"}
	}
	command = append(command, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "", "--drain-seconds", "0.2")
	command = append(command, arguments...)
	s := &Server{command: exec.Command(command[0], command[1:]...)}
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
			s.Address = strings.Fields(address)[0]
			go func() { // so that the server never waits for a reader of its log
				for lines.Scan() {
				}
			}()
			return s, nil
		}
	}
	s.Kill()
	return nil, fmt.Errorf("%q said no address", command)
}

// Kill ends the server with SIGKILL, unless it has ended.
func (s *Server) Kill() {
	_ = s.command.Process.Kill() // fails only if the process has ended
	_ = s.command.Wait()
}
