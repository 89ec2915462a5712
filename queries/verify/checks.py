"""What a store claims about its rows, each as a query that counts the rows which break it."""

from __future__ import annotations

from typing import NamedTuple

from ..schema import GRAIN, OK

_FORWARD = """
select count(*) from {table} as e join graphs as g using (graph)
where e.dst <= e.src or e.src < 0 or e.dst >= g.n_vertices or e.dst < g.n_parameters
"""


# Floats are compared in `filter (where ...)`: DuckDB answers a plain `where` from the statistics of a file, which leave
# nan out, so that nan would pass.


def _continued(table: str) -> str:
    # The product and soft scores of the edges of a table, from the best scores of their targets; edges whose
    # contribution the dtype cannot hold are left out.
    return f"""
        select s.method, e.sample, e.src, e.dst, e.slot,
            s.score + log2(nullif(abs(
                case s.method when 'soft' then e.contribution / v.contribution_l1 else e.derivative end
            ), 0)) as continued
        from {table} as e
        join (
            select method, sample, src as vertex, score from best_edges where rank = 1
            union all
            select distinct b.method, b.sample, g.loss_vertex, 0 from best_edges as b join graphs as g using (graph)
        ) as s on s.sample = e.sample and s.vertex = e.dst {"and s.method = e.method" if table == "best_edges" else ""}
        join vertices as v on v.sample = e.sample and v.vertex = e.src
        where s.method <> 'greedy' and s.score is not null
            and abs(case s.method when 'soft' then e.contribution else e.derivative end) > 1e-30
    """


class Claim(NamedTuple):
    """A claim by name; `sql` returns numbers, the rows that break it."""

    name: str
    sql: str


def _unique(table: str) -> Claim:
    grain = ", ".join(GRAIN[table])
    nulls = " or ".join(f"{column} is null" for column in GRAIN[table])
    return Claim(
        f"{table}: one row per ({grain})",
        f"select (select count(*) from {table} where {nulls}) + "
        f"(select count(*) from (select 1 from {table} group by {grain} having count(*) > 1))",
    )


_ALWAYS = [
    *(_unique(table) for table in GRAIN),
    Claim(
        "samples: recorded ones have a graph",
        f"select count(*) from samples left join graphs using (graph) "
        f"where (status = '{OK}') <> (graphs.graph is not null and samples.graph is not null)",
    ),
    Claim(
        "tensors: vertices are numbered without gaps",
        """
        with spans as (
            select
                graph, first_vertex, first_vertex + size as behind,
                lead(first_vertex) over (partition by graph order by first_vertex, size) as next_first
            from tensors where first_vertex is not null
        )
        select count(*) from spans join graphs using (graph)
        where behind <> coalesce(next_first, n_vertices)
        """,
    ),
    Claim(
        "tensors: parameters come first and are alike in all graphs",
        """
        with parameters as (select * from tensors where kind = 'parameter')
        select
            (select count(*) from parameters join graphs using (graph) where first_vertex + size > n_parameters)
            + (
                select count(*) from (
                    select 1 from parameters group by name
                    having count(distinct (first_vertex, shape)) > 1 or count(*) < (select count(*) from graphs)
                )
            )
        """,
    ),
    Claim("best_edges: edges lead from a smaller vertex to a larger one", _FORWARD.format(table="best_edges")),
    Claim(
        "best_edges: ranks run from 1 and the score does not grow with them",
        """
        select
            (
                select count(*) from best_edges as a join best_edges as b
                using (method, sample, src)
                where b.rank = a.rank + 1 and (
                    (a.score is null and b.score is not null)
                    or case when method = 'greedy' then abs(b.score) > abs(a.score) else b.score > a.score end
                )
            ) + (
                select count(*) from (
                    select 1 from best_edges group by method, sample, src
                    having min(rank) <> 1 or max(rank) <> count(*)
                )
            )
        """,
    ),
    Claim(
        "best_edges: product and soft scores continue the best one of their target",
        f"""
        select count(*) filter (where not abs(e.continued - b.score) <= {{tolerance}} * (1 + abs(b.score)))
        from ({_continued("best_edges")}) as e join best_edges as b using (method, sample, src, dst, slot)
        """,
    ),
    Claim(
        "entries, path_edges: the paths that enter the graph, and those that reach the loss, are the traced ones",
        """
        select count(*) filter (where not abs(t.traced - coalesce(found.paths, 0)) <= {tolerance} * t.traced)
        from path_totals as t left join (
            select method, sample, parameter_group, sum(paths) as paths from entries group by all
        ) as found using (method, sample, parameter_group)
        union all
        select count(*) filter (where not abs(t.traced - coalesce(found.edges, 0)) <= {tolerance} * t.traced)
        from path_totals as t left join (
            select method, sample, parameter_group, edges from path_edges
            join graphs as g using (graph) join tensors as l
            on l.graph = g.graph and l.first_vertex = g.loss_vertex and l.node = path_edges.node
        ) as found using (method, sample, parameter_group)
        """,
    ),
    Claim(
        "path_totals: parameters = traced + dead + absent, for every group of every recorded sample",
        f"""
        select
            (
                select count(*) from path_totals as t left join parameter_groups as g using (parameter_group)
                where t.parameters <> t.traced + t.dead + t.absent or t.parameters is distinct from g.size
            ) + (
                select count(*) from samples, parameter_groups as g
                where status = '{OK}' and not exists (
                    from path_totals as t
                    where t.sample = samples.sample and t.parameter_group = g.parameter_group
                )
            )
        """,
    ),
    Claim(
        "parameter_groups: their sizes sum to the parameters",
        "select count(*) from graphs where n_parameters <> (select sum(size) from parameter_groups)",
    ),
    Claim(
        "graphs: conservation, measured by the dump on the first sample",
        "select count(*) filter (where not conservation_error <= {tolerance}) from graphs",
    ),
]

_ALL_EDGES = [
    Claim("edges: edges lead from a smaller vertex to a larger one", _FORWARD.format(table="edges")),
    Claim(
        "edges: the contributions of every vertex sum to its gradient",
        """
        with sums as (
            select sample, src as vertex, sum(contribution::double) as total, sum(abs(contribution::double)) as size
            from edges group by all
        )
        select count(*) filter (
            where not abs(coalesce(s.total, 0) - v.gradient) <= {tolerance} * greatest(coalesce(s.size, 0), 1e-30)
        )
        from vertices as v join graphs as g using (graph)
        left join sums as s using (sample, vertex)
        where v.vertex <> g.loss_vertex
        """,
    ),
    Claim(
        "best_edges: no edge leads to a better product or soft path than rank 1",
        f"""
        select count(*) filter (
            where not e.continued <= coalesce(b.score + {{tolerance}} * (1 + abs(b.score)), '-inf')
        )
        from ({_continued("edges")}) as e
        left join best_edges as b on b.method = e.method and b.sample = e.sample and b.src = e.src and b.rank = 1
        """,
    ),
    Claim(
        "best_edges: rank 1 is the best of all edges, greedy",
        """
        with best as (
            select b.*, n."order" from best_edges as b
            join tensors as t on t.graph = b.graph and t.tensor = b.dst_tensor
            join nodes as n on n.graph = t.graph and n.node = t.node
            where b.method = 'greedy' and b.rank = 1
        ), compared as (
            select
                b.sample is null
                or abs(e.contribution) > abs(b.contribution)
                or (
                    e.contribution <> 0
                    and abs(e.contribution) = abs(b.contribution)
                    and (n."order", e.slot, e.dst) < (b."order", b.slot, b.dst)
                ) as is_better
            from edges as e
            join tensors as t on t.graph = e.graph and t.tensor = e.dst_tensor
            join nodes as n on n.graph = t.graph and n.node = t.node
            left join best as b on b.sample = e.sample and b.src = e.src
        )
        select
            (select count(*) from compared where is_better)
            + (
                select count(*) from best as b
                where not exists (
                    from edges as e
                    where e.sample = b.sample and e.src = b.src and e.dst = b.dst and e.slot = b.slot
                        and e.contribution = b.contribution
                )
            )
        """,
    ),
]


def claims(detail: str, dtype: str) -> list[Claim]:
    """The claims of a store of this detail and dtype; conservation holds to 1e-9 in float64, to 1e-4 in float32."""
    tolerance = {"float64": "1e-9", "float32": "1e-4"}[dtype]
    chosen = [*_ALWAYS, *(_ALL_EDGES if detail == "all" else [])]
    return [claim._replace(sql=claim.sql.replace("{tolerance}", tolerance)) for claim in chosen]
