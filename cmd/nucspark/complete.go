package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/hdfs"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/spark"
)

// complete completes names that follow from the inventory, for most arguments,
// or any number of them for 0. It contacts no machine, so that a shell need not
// wait. With a file that cannot be read there is nothing to complete.
func (a *App) complete(most int, names func(*inventory.Cluster) []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, err := inventory.Load(a.File)
		if err != nil || most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		left := slices.DeleteFunc(names(c), func(name string) bool { return slices.Contains(args, name) })
		slices.Sort(left)
		return slices.Compact(left), cobra.ShellCompDirectiveNoFileComp
	}
}

func nodeNames(c *inventory.Cluster) []string {
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// pageNames are the pages that are there as long as the cluster is, and the
// machines that have one.
func pageNames(c *inventory.Cluster) []string {
	var names []string
	for _, p := range pagesOf(c) {
		if p.Name != "" {
			names = append(names, p.Name)
		} else {
			names = append(names, p.Node)
		}
	}
	return names
}

// partsOf lists what prints logs as long as the cluster is there.
func partsOf(c *inventory.Cluster) []provision.Part { return append(hdfs.Parts(c), spark.Parts(c)...) }

// logNames are those parts, and the machines.
func logNames(c *inventory.Cluster) []string {
	names := nodeNames(c)
	for _, p := range partsOf(c) {
		names = append(names, p.Name)
	}
	return names
}

// wakeable are the nodes whose network card is known.
func wakeable(c *inventory.Cluster) []string {
	var names []string
	for _, n := range c.Nodes {
		if n.MAC != "" {
			names = append(names, n.Name)
		}
	}
	return names
}

// goneNodes are machines that runs from this computer worked on and that the
// file no longer names. Only such can leave the cluster.
func goneNodes(c *inventory.Cluster) []string {
	var names []string
	for step := range readDurations(c.Name) {
		name := provision.NodeOf(step)
		if _, there := c.Node(name); name != "" && !there {
			names = append(names, name)
		}
	}
	return names
}

// goneVolumes are volumes that runs from this computer made and that the file
// no longer names.
func goneVolumes(c *inventory.Cluster) []string {
	var names []string
	for step := range readDurations(c.Name) {
		name, is := strings.CutPrefix(step, "cluster/nfs/volume/")
		if is && !slices.ContainsFunc(c.Volumes, func(v inventory.Volume) bool { return v.Name == name }) {
			names = append(names, name)
		}
	}
	return names
}
