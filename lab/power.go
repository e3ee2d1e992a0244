package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Kill cuts the power of one node: every process in it ends in the same
// instant and nothing is flushed by them. The disks stay.
func Kill(ctx context.Context, o Options, node string) error {
	_, b, _, err := o.withNode(ctx, node)
	if err != nil {
		return err
	}
	return b.kill(ctx, node)
}

// Start switches one node on and waits until it answers over SSH. A node that
// is on stays as it is.
func Start(ctx context.Context, o Options, node string) error {
	o, b, at, err := o.withNode(ctx, node)
	if err != nil {
		return err
	}
	if err := b.start(ctx, node); err != nil {
		return err
	}
	m, key, err := o.machine(node, at.Address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, b.patience())
	defer cancel()
	return waitForSSH(ctx, b, m, key.Signer)
}

// withNode finds the node in the lab.
func (o Options) withNode(ctx context.Context, node string) (Options, backend, NodeState, error) {
	fail := func(err error) (Options, backend, NodeState, error) { return o, nil, NodeState{}, err }
	o, err := o.withDefaults()
	if err != nil {
		return fail(err)
	}
	if err := engineRunning(ctx); err != nil {
		return fail(err)
	}
	b, err := o.backend()
	if err != nil {
		return fail(err)
	}
	nodes, err := b.nodes(ctx)
	if err != nil {
		return fail(err)
	}
	var names []string
	for _, n := range nodes {
		if n.Name == node {
			return o, b, n, nil
		}
		names = append(names, n.Name)
	}
	if len(names) == 0 {
		return fail(fmt.Errorf("there is no lab %q: make one with `nucspark lab up`", o.Name))
	}
	return fail(fmt.Errorf("the lab %q has no node %q; it has %s", o.Name, node, strings.Join(names, ", ")))
}

// Down removes what the lab made: its machines with their disks, network, images
// that no other lab uses, keys, and lab.hcl if it is as Up wrote it. The cache
// stays. Down of a lab that does not exist does nothing.
func Down(ctx context.Context, o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	if err := engineRunning(ctx); err != nil {
		// The keys of a lab are made before its machines and go after them.
		if _, none := os.Stat(o.stateDir()); errors.Is(none, os.ErrNotExist) {
			return nil
		}
		return err
	}
	release, err := o.lock()
	if err != nil {
		return err
	}
	defer release()
	if err := removeVMs(ctx, o); err != nil {
		return err
	}
	for _, kind := range []string{"container", "volume", "network"} {
		names, err := labelled(ctx, kind, o.Name)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			continue
		}
		o.say("removing %d %ss", len(names), kind)
		args := append([]string{kind, "rm", "--force"}, names...)
		if kind == "network" {
			args = append([]string{kind, "rm"}, names...)
		}
		if _, err := docker(ctx, nil, args...); err != nil {
			return err
		}
	}
	if err := removeInventory(o); err != nil {
		return err
	}
	if err := os.RemoveAll(o.stateDir()); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(o.State, o.Name+".lock")); err != nil {
		return err
	}
	return removeUnusedImages(ctx)
}

// removeUnusedImages removes the images of labs that no container is made of.
func removeUnusedImages(ctx context.Context) error {
	out, err := docker(ctx, nil, "image", "ls", "--filter", "label="+imageLabel, "--format", "{{.ID}}")
	if err != nil {
		return err
	}
	for _, image := range strings.Fields(out) {
		users, err := docker(ctx, nil, "container", "ls", "--all", "--quiet", "--filter", "ancestor="+image)
		if err != nil {
			return err
		}
		if users != "" {
			continue
		}
		// Another lab may come or go at the same moment.
		if _, err := docker(ctx, nil, "image", "rm", image); err != nil && !saidBy(err, "conflict", "no such image") {
			return err
		}
	}
	return nil
}

func removeInventory(o Options) error {
	var last written
	b, err := os.ReadFile(filepath.Join(o.stateDir(), "inventory.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &last); err != nil {
		return err
	}
	switch now, err := os.ReadFile(last.File); {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !bytes.Equal(now, last.Body):
		o.say("%s was changed and stays", last.File)
		return nil
	}
	return os.Remove(last.File)
}
