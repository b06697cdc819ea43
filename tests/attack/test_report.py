# SPDX-License-Identifier: Apache-2.0
"""The page of attacks."""

from attack import report


def test_the_page_shows_what_is_recorded() -> None:
    text = report.PAGE.read_text()
    assert text == report.page(text)
