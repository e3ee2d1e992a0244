// Stranger knocks at the doors of a cluster from a machine that is not in it.
// The tests of the lab copy it there: it needs nothing but itself.
//
//	stranger scan ADDRESS:PORTS...   prints the TCP ports that accept a connection; PORTS is 22,8000-8999
//	stranger udp ADDRESS:PORT...     prints the UDP ports where an RPC call is answered
//	stranger get URL...              prints the status of each page, fetched without credentials
//	stranger spark ADDRESS:PORT...   prints what Spark answers to a call without its secret
//
// It says "listening" for nothing that was not seen to accept: a port that is
// dropped and one that is closed are the same to it.
package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	patience = 3 * time.Second // for an answer within one network
	knocking = 2500            // connections at a time; each is a file
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: stranger scan|udp|get|spark TARGET...")
		os.Exit(2)
	}
	ask := map[string]func(string) (string, error){"scan": connect, "udp": rpcNull, "get": get, "spark": spark}[os.Args[1]]
	targets, err := os.Args[2:], error(nil)
	if os.Args[1] == "scan" {
		targets, err = ports(targets)
	}
	if err != nil || ask == nil {
		fmt.Fprintln(os.Stderr, "stranger: cannot do that:", err)
		os.Exit(2)
	}
	answers := make([]string, len(targets))
	var all sync.WaitGroup
	slots := make(chan struct{}, knocking)
	for i, t := range targets {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if said, err := ask(t); err == nil {
				answers[i] = strings.TrimSpace(t + " " + said)
			} else if os.Args[1] != "scan" {
				fmt.Fprintln(os.Stderr, t, err)
			}
		})
	}
	all.Wait()
	for _, a := range answers {
		if a != "" {
			fmt.Println(a)
		}
	}
}

// ports turns ADDRESS:22,8000-8999 into one target for each port.
func ports(ranges []string) ([]string, error) {
	var targets []string
	for _, r := range ranges {
		addr, list, err := net.SplitHostPort(r)
		if err != nil {
			return nil, err
		}
		for _, p := range strings.Split(list, ",") {
			from, to, many := strings.Cut(p, "-")
			if !many {
				to = from
			}
			first, err := strconv.Atoi(from)
			last, err2 := strconv.Atoi(to)
			if err := errors.Join(err, err2); err != nil {
				return nil, err
			}
			for ; first <= last; first++ {
				targets = append(targets, net.JoinHostPort(addr, strconv.Itoa(first)))
			}
		}
	}
	return targets, nil
}

func connect(target string) (string, error) {
	c, err := net.DialTimeout("tcp", target, patience)
	if err != nil {
		return "", err
	}
	return "", c.Close()
}

// rpcNull calls procedure 0 of the portmapper, which every server of ONC RPC
// answers, be it to say that it is another program (RFC 5531).
func rpcNull(target string) (string, error) {
	c, err := net.DialTimeout("udp", target, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	var call bytes.Buffer
	for _, word := range []uint32{0x6e756373, 0, 2, 100000, 2, 0, 0, 0, 0, 0} {
		_ = binary.Write(&call, binary.BigEndian, word)
	}
	if _, err := c.Write(call.Bytes()); err != nil {
		return "", err
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	n, err := c.Read(make([]byte, 1500))
	return fmt.Sprintf("answered with %d bytes", n), err
}

func get(url string) (string, error) {
	client := http.Client{Timeout: 10 * patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // a stranger takes whoever answers
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	return strconv.Itoa(resp.StatusCode), resp.Body.Close()
}

// spark sends one call in the frame of Spark's network layer (MessageEncoder
// and RpcRequest of org.apache.spark.network.protocol) and returns the text of
// the failure that comes back.
func spark(target string) (string, error) {
	c, err := net.DialTimeout("tcp", target, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	const request, failure = 3, 5
	body := "no secret"
	var frame bytes.Buffer
	for _, v := range []any{uint64(8 + 1 + 8 + 4 + len(body)), uint8(request), uint64(1), uint32(len(body))} {
		_ = binary.Write(&frame, binary.BigEndian, v)
	}
	frame.WriteString(body)
	if _, err := c.Write(frame.Bytes()); err != nil {
		return "", err
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * patience)); err != nil {
		return "", err
	}
	var head struct {
		Frame uint64
		Kind  uint8
		ID    uint64
		Size  uint32
	}
	if err := binary.Read(c, binary.BigEndian, &head); err != nil {
		return "", err
	}
	if head.Kind != failure || head.Size > 1<<20 {
		return fmt.Sprintf("answered with a message of kind %d", head.Kind), nil
	}
	text := make([]byte, head.Size)
	_, err = io.ReadFull(c, text)
	line, _, _ := strings.Cut(string(text), "\n")
	return line, err
}
