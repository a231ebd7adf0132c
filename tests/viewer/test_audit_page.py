"""The audit's page, in the browser that the viewer is tried in: it fits on a screen."""

from tokenshift.provenance.audit import Audit
from tokenshift.provenance.lineage import page
from tokenshift.provenance.plan import Job

READ = tuple(f"results/study/scores/a-pair-of-a-long-name/set-{number}/tuned.parquet" for number in range(40))


def test_the_audit_page_is_no_wider_than_a_screen(driver, tmp_path):
    command = (
        f"python $SCRIPTS/tables/claims.py --spec {{}} --scores {' '.join(READ)} --output results/study/tables/c.csv"
    )
    job = Job("table_claims", READ, ("results/study/tables/c.csv",), command)
    made = tmp_path / "audit.html"
    made.write_text(page(Audit([job], uncovered=list(READ)), "study"), encoding="utf-8")
    driver.set_window_size(1100, 800)
    driver.get(made.as_uri())
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert "40 files" in driver.find_element("css selector", "details summary").text
