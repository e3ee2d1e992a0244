package provision

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"nucspark.io/nucspark/provision/kube"
)

// apiBound is how long the API may take for one answer.
const apiBound = 30 * time.Second

// listFrom is how many objects of a kind must be wanted for a list of them all
// to be asked for instead: one request, however many nodes there are.
const listFrom = 3

// sameVersionTries bounds how often an object is read again that others change.
const sameVersionTries = 5

// reader asks the API for one batch of queries.
type reader struct {
	k     *kube.Client
	lists map[ListQuery]func() (listed, error) // each asked for once
}

type listed struct {
	items  []Object
	byName map[string]Object
}

// newReader looks at what a batch wants. ctx is that of the whole batch.
func newReader(ctx context.Context, k *kube.Client, queries []Query) *reader {
	r := &reader{k: k, lists: map[ListQuery]func() (listed, error){}}
	wanted := map[ListQuery]int{}
	for _, q := range queries {
		switch q := q.(type) {
		case ObjectQuery:
			wanted[liveQuery(q.Object).all()]++
		case LiveQuery:
			wanted[q.all()]++
		case ListQuery:
			wanted[q] += listFrom
		}
	}
	for q, n := range wanted {
		if n < listFrom {
			continue
		}
		r.lists[q] = sync.OnceValues(func() (listed, error) {
			ctx, cancel := context.WithTimeout(ctx, apiBound)
			defer cancel()
			items, err := k.List(ctx, q.APIVersion, q.Kind, q.Namespace, q.Selector)
			l := listed{items, map[string]Object{}}
			for _, o := range items {
				l.byName[liveQuery(o).Name] = o
			}
			return l, err
		})
	}
	return r
}

// live returns one object, nil when it does not exist.
func (r *reader) live(ctx context.Context, q LiveQuery) (Object, error) {
	list := r.lists[q.all()]
	if list == nil {
		return r.k.Get(ctx, q.APIVersion, q.Kind, q.Namespace, q.Name)
	}
	l, err := list()
	return l.byName[q.Name], err
}

func (r *reader) ask(ctx context.Context, q Query) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, apiBound)
	defer cancel()
	switch q := q.(type) {
	case ObjectQuery:
		id := liveQuery(q.Object)
		live, err := r.live(ctx, id)
		for tries := 1; ; tries++ {
			if err != nil || live == nil {
				return ObjectFact{}, err
			}
			would, wrong := r.k.DryRun(ctx, q.Object)
			if apierrors.IsInvalid(wrong) { // for one object, which need not keep the others
				return ObjectFact{Exists: true, Live: live, Refused: wrong.Error()}, nil
			}
			if wrong != nil {
				return nil, wrong
			}
			// Both are of one moment only if they are of one version. What a
			// controller did between the two answers is no difference.
			if version(live) == version(would) || len(objectDiff("", stable(live), stable(would))) == 0 || tries == sameVersionTries {
				return ObjectFact{Exists: true, Live: live, Would: would}, nil
			}
			live, err = r.k.Get(ctx, id.APIVersion, id.Kind, id.Namespace, id.Name)
		}
	case LiveQuery:
		return r.live(ctx, q)
	case ListQuery:
		l, err := r.lists[q]()
		return l.items, err
	case PageQuery:
		status, body, err := r.k.Page(ctx, q.Namespace, q.Pod, q.Port, q.Path)
		if err != nil {
			return PageFact{Err: err.Error()}, nil
		}
		return PageFact{Status: status, Body: body}, nil
	}
	panic(fmt.Sprintf("%T is no query of the cluster", q))
}

// version is an object's resource version, which a dry run leaves as it is.
func version(o Object) any {
	meta, _ := o["metadata"].(map[string]any)
	return meta["resourceVersion"]
}

// all is the list that an object is in.
func (q LiveQuery) all() ListQuery {
	return ListQuery{APIVersion: q.APIVersion, Kind: q.Kind, Namespace: q.Namespace}
}

// liveQuery asks for an object that has the identity of o.
func liveQuery(o Object) LiveQuery {
	text := func(m map[string]any, key string) string { s, _ := m[key].(string); return s }
	meta, _ := o["metadata"].(map[string]any)
	return LiveQuery{APIVersion: text(o, "apiVersion"), Kind: text(o, "kind"), Namespace: text(meta, "namespace"), Name: text(meta, "name")}
}
