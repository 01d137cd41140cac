"""What users fill in."""

import shlex

from django import forms


class JobForm(forms.Form):
    """A command to run. What else is wrong with it, the service says: it knows its engine."""

    command = forms.CharField(
        max_length=10_000,
        strip=True,
        widget=forms.TextInput(
            attrs={
                "placeholder": "sh -c 'for i in 1 2 3; do echo step $i; sleep 1; done'",
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
            }
        ),
    )
    image = forms.CharField(
        max_length=500,
        required=False,
        widget=forms.TextInput(
            attrs={"placeholder": "for engines with images", "spellcheck": "false"}
        ),
    )

    def clean_command(self) -> list[str]:
        """Split it as a shell would; nothing else of a shell is done."""
        try:
            return shlex.split(self.cleaned_data["command"])
        except ValueError as error:
            raise forms.ValidationError(f"{error}: check the quotes") from error
