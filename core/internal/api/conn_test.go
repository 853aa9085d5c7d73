package api_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/internal/caller"
)

// What is no request that net/http understands is answered all the same: with a 4xx and its reason, also
// where the caller sends much more than was read of it.
func TestNoHTTPIsAnsweredToo(t *testing.T) {
	socket := guardedBy(t, func(*caller.Peer) error { return nil })
	much := strings.Repeat("x", 4<<20)
	for name, tc := range map[string]struct {
		head   string
		status int
	}{
		"a byte that no URL has":    {"GET /v1/events?follow=\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"a path with a bad escape":  {"GET /v1/%zz HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n", 400},
		"a line that is none":       {"what is this\r\n\r\n", 400},
		"no host":                   {"GET /v1/health HTTP/1.1\r\n\r\n", 400},
		"two lengths":               {"POST /v1/read HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		"a header that is none":     {"GET /v1/health HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400},
		"a transfer coding":         {"POST /v1/read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400},
		"a version of HTTP":         {"GET /v1/health HTTP/9.1\r\nHost: x\r\n\r\n", 400},
		"a line that does not end":  {"GET /v1/health?follow=", 431},
		"a header that is too long": {"GET /v1/health HTTP/1.1\r\nHost: x\r\nX: ", 431},
		"a body of no operation":    {"POST /v1/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4194304\r\n\r\n", 404},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, tc.head+much); err != nil {
				t.Errorf("it was not taken: %v", err)
			}
			got, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("it was not answered: %v", err)
			}
			defer got.Body.Close()
			body, err := io.ReadAll(got.Body)
			if err != nil || got.StatusCode != tc.status {
				t.Errorf("status %d, want %d: %v", got.StatusCode, tc.status, err)
			}
			var p client.Error
			if err := json.Unmarshal(body, &p); tc.status != 404 && (err != nil || p.Status != tc.status || p.Code != "bad-request" || p.Detail == "") {
				t.Errorf("it has no reason: %q", body)
			}
		})
	}
}

// A HEAD of a stream ends, so that the next request on the connection is answered.
func TestHeadOfAStreamEnds(t *testing.T) {
	socket := guardedBy(t, func(*caller.Peer) error { return nil })
	for _, path := range []string{"/v1/samples", "/v1/values", "/v1/events?follow=true", "/v1/drivers/modbus/logs?follow=true"} {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "HEAD "+path+" HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		from := bufio.NewReader(conn)
		for _, want := range []struct {
			method string
			status int
		}{{http.MethodHead, http.StatusMethodNotAllowed}, {http.MethodGet, http.StatusOK}} {
			got, err := http.ReadResponse(from, &http.Request{Method: want.method})
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			_, _ = io.Copy(io.Discard, got.Body)
			if got.StatusCode != want.status {
				t.Errorf("%s: status %d to %s, want %d", path, got.StatusCode, want.method, want.status)
			}
		}
	}
}
