// SPDX-License-Identifier: Apache-2.0

// The driver for grpc-go: tests/support/drivers.py says what a driver does.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

type codec struct{} // messages are bytes already

func (codec) Name() string { return "proto" }

func (codec) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*message.(*[]byte))}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, message any) error {
	*message.(*[]byte) = data.Materialize()
	return nil
}

type scenario struct {
	name, kind, path string
	count, parallel  int
	pause            time.Duration
	requests         [][]byte
}

func main() {
	address, plan, out := os.Args[1], os.Args[2], os.Args[3]
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(1<<30)),
	}
	if seconds, err := strconv.Atoi(os.Getenv("KEEPALIVE_SECONDS")); err == nil {
		options = append(options, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Duration(seconds) * time.Second}))
	}
	connection, err := grpc.NewClient("passthrough:///"+address, options...)
	check(err)
	lines, err := os.ReadFile(plan)
	check(err)
	for line := range strings.Lines(string(lines)) {
		fields := strings.Fields(line)
		count, _ := strconv.Atoi(fields[3])
		parallel, _ := strconv.Atoi(fields[4])
		pause, _ := strconv.Atoi(fields[5])
		one := scenario{fields[0], fields[1], fields[2], count, parallel, time.Duration(pause) * time.Second, read(fields[6])}
		detail, err := run(connection, one, out)
		if err != nil {
			detail = status.Convert(err).Message()
		}
		json.NewEncoder(os.Stdout).Encode(map[string]any{"name": one.name, "code": status.Code(err), "detail": detail})
	}
}

func run(connection *grpc.ClientConn, one scenario, out string) (string, error) {
	var group sync.WaitGroup
	var next atomic.Int64
	var failure atomic.Pointer[error]
	stop := filepath.Join(out, "stop")
	for range one.parallel {
		group.Go(func() {
			for failure.Load() == nil {
				index := next.Add(1) - 1
				if one.kind == "load" {
					if _, err := os.Stat(stop); err == nil {
						return
					}
				} else if index >= int64(one.count) {
					return
				}
				replies, err := call(connection, one, int(index))
				if err != nil {
					failure.CompareAndSwap(nil, &err)
				} else if one.kind != "load" {
					write(fmt.Sprintf("%s/%s.%d", out, one.name, index), replies)
				}
			}
		})
	}
	group.Wait()
	if err := failure.Load(); err != nil {
		return "", *err
	}
	return fmt.Sprintf("%d calls", next.Load()), nil
}

func call(connection *grpc.ClientConn, one scenario, index int) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second+time.Duration(len(one.requests))*one.pause)
	defer cancel()
	if one.kind == "unary" || one.kind == "load" {
		var reply []byte
		err := connection.Invoke(ctx, one.path, &one.requests[index%len(one.requests)], &reply)
		return [][]byte{reply}, err
	}
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: one.kind == "bidi"}, one.path)
	if err != nil {
		return nil, err
	}
	go func() {
		for index := range one.requests {
			if index > 0 {
				time.Sleep(one.pause)
			}
			if stream.SendMsg(&one.requests[index]) != nil {
				return // RecvMsg says why
			}
		}
		stream.CloseSend()
	}()
	var replies [][]byte
	for {
		var reply []byte
		if err := stream.RecvMsg(&reply); err == io.EOF {
			return replies, nil
		} else if err != nil {
			return nil, err
		}
		replies = append(replies, reply)
		if one.kind == "client_stream" {
			return replies, nil
		}
	}
}

func read(path string) (messages [][]byte) {
	data, err := os.ReadFile(path)
	check(err)
	for reader := bytes.NewReader(data); reader.Len() > 0; {
		var length uint32
		check(binary.Read(reader, binary.BigEndian, &length))
		message := make([]byte, length)
		_, err := io.ReadFull(reader, message)
		check(err)
		messages = append(messages, message)
	}
	return messages
}

func write(path string, messages [][]byte) {
	file, err := os.Create(path)
	check(err)
	writer := bufio.NewWriter(file)
	for _, message := range messages {
		binary.Write(writer, binary.BigEndian, uint32(len(message)))
		writer.Write(message)
	}
	check(writer.Flush())
	check(file.Close())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
