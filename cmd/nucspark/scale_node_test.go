package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"nucspark.io/nucspark/provision"
)

// fakeNode is an SSH server that answers as a recorded machine did.
type fakeNode struct {
	t        testing.TB
	survey   string
	sections []section // of the facts, without those that are made of files
	files    map[string]*fakeFile
	conf     []byte // admin.conf; nil: this is no control plane
	api      string // where its API server listens

	render   sync.Once
	facts    string
	listener net.Listener
	hostKey  ssh.Signer

	connections, sessions, forwards atomic.Int32
}

type section struct{ name, body string }

// fakeFile is a file as stat(1), sha256sum(1) and tar(1) told of it.
type fakeFile struct {
	stat    []string // the fields of the line
	sum     string   // "" for what is no file
	content []byte   // nil unless it was asked for
}

// newFakeNode takes a recorded machine to pieces; edit replaces what names it.
func newFakeNode(t testing.TB, rec *recordedNode, edit *strings.Replacer) *fakeNode {
	n := &fakeNode{t: t, survey: edit.Replace(rec.Survey), files: map[string]*fakeFile{}}
	for _, key := range []string{"identity", "record"} { // are in base64
		head := recordedMark + ":" + key + "="
		before, rest, _ := strings.Cut(n.survey, head)
		text, after, _ := strings.Cut(rest, "\n")
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		n.survey = before + head + base64.StdEncoding.EncodeToString([]byte(edit.Replace(string(b)))) + "\n" + after
	}
	for _, part := range strings.Split(rec.Facts, "\n"+recordedMark+" ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		switch name {
		case "stat":
			for line := range strings.Lines(body) {
				if f := strings.SplitN(strings.TrimSpace(line), "|", 8); len(f) == 8 {
					n.files[f[7]] = &fakeFile{stat: f}
				}
			}
		case "sums":
			for line := range strings.Lines(body) {
				if sum, path, ok := strings.Cut(strings.TrimSpace(line), "  "); ok && n.files[path] != nil {
					n.files[path].sum = sum
				}
			}
		case "contents":
			archive := tar.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(strings.TrimSpace(body))))
			for {
				h, err := archive.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(archive)
				if err != nil {
					t.Fatal(err)
				}
				n.write(h.Name, []byte(edit.Replace(string(b))))
			}
		default:
			n.sections = append(n.sections, section{name, edit.Replace(body)})
		}
	}
	return n
}

// write replaces the content of a file; its owner and times stay.
func (n *fakeNode) write(path string, content []byte) {
	f := n.files[path]
	if f == nil {
		f = &fakeFile{stat: []string{"", "root", "0", "root", "0", "", "2026-01-01 00:00:00.000000000 +0000", path}}
		n.files[path] = f
	}
	if f.stat[0] == "" {
		f.stat[0] = "81a4"
	}
	f.stat[5] = fmt.Sprint(len(content))
	f.sum = fmt.Sprintf("%x", sha256.Sum256(content))
	f.content = content
}

// settle makes a file what a step wants.
func (n *fakeNode) settle(s provision.File) {
	n.write(s.Path, s.Content)
	n.files[s.Path].stat[0] = fmt.Sprintf("%x", 0o100000|uint32(s.Mode&fs.ModePerm))
}

// output replaces what a command printed, if it ran.
func (n *fakeNode) output(what provision.Lookup, edit func(string) string) {
	for i, s := range n.sections {
		code, text, _ := strings.Cut(s.body, "\n")
		if s.name != "output "+string(what) || code != "0" {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil {
			n.t.Fatal(err)
		}
		n.sections[i].body = code + "\n" + base64.StdEncoding.EncodeToString([]byte(edit(string(b))))
	}
}

// answer is what the script of the facts prints.
func (n *fakeNode) answer() string {
	n.render.Do(func() {
		var stat, sums strings.Builder
		var contents bytes.Buffer
		archive := tar.NewWriter(&contents)
		for _, path := range slices.Sorted(maps.Keys(n.files)) {
			f := n.files[path]
			fmt.Fprintln(&stat, strings.Join(f.stat, "|"))
			if f.sum != "" {
				fmt.Fprintf(&sums, "%s  %s\n", f.sum, path)
			}
			if f.content != nil {
				if err := archive.WriteHeader(&tar.Header{Name: path, Typeflag: tar.TypeReg, Size: int64(len(f.content)), Mode: 0o644, Format: tar.FormatPAX}); err != nil {
					n.t.Error(err)
				}
				archive.Write(f.content)
			}
		}
		archive.Close()
		var b strings.Builder
		for _, s := range append([]section{{"stat", stat.String()}, {"sums", sums.String()}, {"contents", base64.StdEncoding.EncodeToString(contents.Bytes())}}, n.sections...) {
			fmt.Fprintf(&b, "\n%s %s\n%s", recordedMark, s.name, s.body)
		}
		n.facts = b.String()
	})
	return n.facts
}

// start listens. Only the given key may log in.
func (n *fakeNode) start(client ssh.PublicKey) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		n.t.Fatal(err)
	}
	if n.hostKey, err = ssh.NewSignerFromKey(key); err != nil {
		n.t.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(k.Marshal(), client.Marshal()) {
			return nil, fmt.Errorf("another key")
		}
		return nil, nil
	}}
	config.AddHostKey(n.hostKey)
	if n.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { n.listener.Close() })
	go func() {
		for {
			c, err := n.listener.Accept()
			if err != nil {
				return
			}
			n.connections.Add(1)
			go n.serve(c, config)
		}
	}()
}

func (n *fakeNode) serve(c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	_, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		n.t.Error(err)
		return
	}
	go func() {
		for r := range requests {
			r.Reply(r.Type == "keepalive@openssh.com", nil)
		}
	}()
	for ch := range channels {
		switch ch.ChannelType() {
		case "session":
			n.sessions.Add(1)
			go n.session(ch)
		case "direct-tcpip":
			n.forwards.Add(1)
			go n.forward(ch)
		default:
			ch.Reject(ssh.UnknownChannelType, "")
		}
	}
}

// session runs one script: the shell's marker on both streams, then the script
// by stdin, then the answer. sudo asks for nothing, as in the lab.
func (n *fakeNode) session(open ssh.NewChannel) {
	ch, requests, err := open.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	for r := range requests {
		var m struct{ Command string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &m) != nil {
			r.Reply(false, nil)
			continue
		}
		go ssh.DiscardRequests(requests)
		r.Reply(true, nil)
		if !strings.Contains(m.Command, " sudo -n -H -- /bin/sh -c ") {
			n.t.Errorf("not run as root: %s", m.Command)
		}
		marker := m.Command[strings.LastIndex(m.Command, " ")+1:]
		fmt.Fprintf(ch, "\n%s 1000 1000 5000\n", marker)
		fmt.Fprintf(ch.Stderr(), "\n%s 1000 1000 5000\n", marker)
		script, err := bufio.NewReader(ch).ReadString('\n')
		if err != nil {
			n.t.Error(err)
			return
		}
		io.WriteString(ch, n.run(script))
		ch.CloseWrite()
		ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{0}))
		return
	}
}

func (n *fakeNode) run(script string) string {
	mark := scriptMark.FindString(script)
	switch {
	case mark == "" && n.conf != nil && strings.Contains(script, "exec cat -- '"+provision.AdminConf+"'"):
		return string(n.conf)
	case mark == "":
		n.t.Errorf("an up without changes ran a script that was not recorded: %s", script)
		return ""
	case !isSurvey(script, mark):
		return strings.ReplaceAll(n.answer(), recordedMark, mark)
	}
	var b strings.Builder
	for line := range strings.Lines(n.survey) {
		if strings.HasPrefix(line, recordedMark+":clock") {
			name, _, _ := strings.Cut(line, "=")
			line = fmt.Sprintf("%s=%d\n", name, time.Now().UnixNano())
		}
		b.WriteString(strings.Replace(line, recordedMark, mark, 1))
	}
	return b.String()
}

func (n *fakeNode) forward(open ssh.NewChannel) {
	c, err := net.Dial("tcp", n.api)
	if err != nil {
		open.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer c.Close()
	ch, requests, err := open.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	go ssh.DiscardRequests(requests)
	go func() {
		io.Copy(c, ch)
		c.Close()
	}()
	io.Copy(ch, c)
}
